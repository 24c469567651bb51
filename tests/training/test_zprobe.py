import pytest, torch
@pytest.mark.parametrize("opt",["sgd","adamw"])
@pytest.mark.parametrize("lr",[1,30,100,1000,1e5,1e10])
@pytest.mark.parametrize("net",["mlp","cnn","resnet18"])
@pytest.mark.parametrize("clip",[None,1.0])
def test_p(train, make_recipe, opt, lr, net, clip, tmp_path):
    import time; t=time.time()
    try:
        _,h=train(make_recipe(training__optimizer=opt,training__lr=lr,model__name=net,training__batch_size=4,training__clip_norm=clip), tmp_path)
        print("\nP", opt,lr,net,clip,[r["train_loss"] for r in h], "%.1f"%(time.time()-t))
    except Exception as e: print("\nP", opt,lr,net,clip,type(e).__name__,str(e)[:60], "%.1f"%(time.time()-t))
